"""The systems around the service, each as a small real program, and the demo in which they all play their part.

Nothing here imports the service. Each counterpart knows only what its real-life original would know: an address, a key,
the HTTP calls and the Kafka topics. Any one of them could be taken out and the real system put in its place.
"""
