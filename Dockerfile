# One image for every part; compose.yaml says which part a container is.
FROM python:3.13-slim

ENV PYTHONUNBUFFERED=1 STACKWEB_HOME=/var/lib/stackweb
RUN useradd --create-home --uid 1000 stackweb && install -d -o stackweb -m 700 /var/lib/stackweb
WORKDIR /app

COPY requirements requirements
RUN pip install --no-cache-dir --require-hashes -r requirements/uv.txt \
 && uv pip install --system --no-cache --require-hashes -r requirements/server.txt \
 && uv pip install --system --no-cache --require-hashes -r requirements/build.txt

COPY . .
# Editable: templates and static files are read from /app.
RUN uv pip install --system --no-cache --no-deps --no-build-isolation --editable .

USER stackweb
VOLUME /var/lib/stackweb
