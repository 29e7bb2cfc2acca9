"""What is measured, a module for each: a function that takes the stage and gives a section of the report."""
