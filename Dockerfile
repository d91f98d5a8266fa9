# The locked environment, for `docker run` and `snakemake --sdm apptainer`: docs/elsewhere.md.
FROM python:3.12-slim-bookworm AS packages
COPY envs/uv.txt envs/requirements.txt /envs/
# Every package is checked by its hash; none is compiled but connection-pool, which is pure Python.
RUN python -m venv /opt/cladescope \
	&& python -m pip install --no-cache-dir --require-hashes --requirement /envs/uv.txt \
	&& uv pip sync --no-cache --compile-bytecode --require-hashes \
		--python /opt/cladescope/bin/python /envs/requirements.txt

FROM python:3.12-slim-bookworm
# Git names the commit of a mounted checkout, and fetches a workflow that is deployed from a host.
# hadolint ignore=DL3008
RUN apt-get update \
	&& apt-get install --yes --no-install-recommends git \
	&& rm -rf /var/lib/apt/lists/* \
	&& useradd --create-home --uid 1000 cladescope
COPY --from=packages /opt/cladescope /opt/cladescope
ENV PATH=/opt/cladescope/bin:$PATH
USER 1000
WORKDIR /work
CMD ["snakemake", "--help"]
