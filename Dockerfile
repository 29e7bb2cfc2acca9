FROM python:3.11-slim

# Ray reads the process table; nothing else beside Python is needed.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends procps \
    && rm -rf /var/lib/apt/lists/*

# The home folder is open to whichever user the containers are told to run as, since Ray keeps its state there.
# So is the place of the data folder, which a volume takes over with its rights.
RUN useradd --uid 10001 --create-home --home-dir /home/ledger ledger && mkdir /var/lib/gift-ledger \
    && chmod 1777 /home/ledger /var/lib/gift-ledger
ENV HOME=/home/ledger USER=ledger RAY_USAGE_STATS_ENABLED=0

WORKDIR /app
COPY constraints/build.txt constraints/runtime.txt constraints/
# What the service depends on changes less often than the service: a layer of its own, with bytecode. Only what is listed, with its hash.
RUN pip install --no-cache-dir --require-hashes --no-deps --no-build-isolation --requirement constraints/build.txt \
    && pip install --no-cache-dir --compile --require-hashes --no-deps --no-build-isolation --requirement constraints/runtime.txt
COPY pyproject.toml README.md ./
COPY ledger ledger
COPY persistence persistence
COPY actors actors
COPY gateway gateway
COPY gift_ledger gift_ledger
COPY examples examples
RUN pip install --no-cache-dir --compile --no-deps --no-build-isolation . && pip check && rm -rf /app/*
COPY --chmod=755 deploy/ray-node /usr/local/bin/ray-node

USER ledger
WORKDIR /home/ledger
EXPOSE 8080
# A gateway answers here; what is no gateway has a health check of its own, or none.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8080/health/live', timeout=4)"]
CMD ["gift-ledger", "--help"]
