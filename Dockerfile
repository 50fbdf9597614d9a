# One image for every process of Headwater: web, engine, migrations.
# Packages, the pages' libraries and static files are in it; nothing is installed or built at a start.
FROM python:3.13-slim-bookworm AS build
WORKDIR /app
# First what changes seldom, so that a change of code does not install everything again.
COPY pyproject.toml uv.lock package.json package-lock.json ./
COPY deploy/ deploy/
RUN python -m deploy.bootstrap --packages-only
COPY . .
# The data folder gets keys that loading the settings needs; they end with this stage, as Node.js and uv do.
RUN HEADWATER_DATA_DIR=/tmp/build python -m deploy.bootstrap \
 && .venv/bin/uv sync --frozen --quiet \
 && rm -rf node_modules

FROM python:3.13-slim-bookworm
ENV PATH=/app/.venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 HEADWATER_HOST=0.0.0.0
RUN useradd --system --uid 10001 --home-dir /data --create-home headwater \
 && mkdir /static && chown headwater /static
ENV HEADWATER_DATA_DIR=/data
WORKDIR /app
COPY --from=build /app /app
USER headwater
EXPOSE 8000
CMD ["python", "manage.py", "serve"]
