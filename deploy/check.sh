#!/bin/sh
# Checks everything in deploy/ with the linter of each format; needs no container engine and no
# cluster. Usage: deploy/check.sh SCRATCH (a folder for tools and copies; keep it between runs).
set -eu

here=$(cd "$(dirname "$0")" && pwd)
scratch=${1:?usage: deploy/check.sh SCRATCH}
mkdir -p "$scratch"
scratch=$(cd "$scratch" && pwd)
# Where Debian keeps haproxy and nginx, which users have not in their PATH.
PATH=$PATH:/usr/sbin:/sbin

say() { printf '\n== %s\n' "$1"; }

# need COMMAND PACKAGE: fails when a command is missing, and says what to install.
need() {
    command -v "$1" > /dev/null || {
        echo "$1 is missing: apt-get install $2" >&2
        exit 1
    }
}

need haproxy haproxy
need nginx "nginx-light libnginx-mod-stream"
need python3 "python3 python3-venv"
need shellcheck shellcheck
need systemd-analyze systemd

say 'linters from PyPI'
tools=$scratch/venv
if ! cmp -s "$here/requirements.txt" "$tools/requirements.txt"; then
    python3 -m venv --clear "$tools" || { echo "no virtual environment: apt-get install python3-venv" >&2; exit 1; }
    "$tools/bin/pip" install --quiet --disable-pip-version-check -r "$here/requirements.txt"
    cp "$here/requirements.txt" "$tools/requirements.txt"
fi
echo "in $tools"

say 'shellcheck: this script'
shellcheck "$here/check.sh"
shellcheck --version | grep '^version'

say 'hadolint: Dockerfile'
"$tools/bin/hadolint" --version
"$tools/bin/hadolint" --failure-threshold info "$here/docker/Dockerfile"

say 'yamllint: what is YAML as it stands'
"$tools/bin/yamllint" --version
"$tools/bin/yamllint" --strict --config-file "$here/.yamllint.yaml" \
    "$here/compose.yaml" "$here/helm/driftless/Chart.yaml" "$here/helm/driftless/values.yaml"

say 'check-jsonschema: compose.yaml against the Compose specification, the schema against its own'
"$tools/bin/check-jsonschema" --builtin-schema vendor.compose-spec "$here/compose.yaml"
"$tools/bin/check-jsonschema" --check-metaschema "$here/helm/driftless/values.schema.json"

say 'haproxy -c (that nodes cannot be resolved here is a warning)'
haproxy -c -f "$here/haproxy/haproxy.cfg"

say 'nginx -t'
nginx -t -e stderr -c "$here/nginx/nginx.conf" -g "pid $scratch/nginx.pid;"

say 'systemd-analyze: the unit, with a binary that exists'
mkdir -p "$scratch/unit"
sed 's|^ExecStart=[^ ]*|ExecStart=/bin/true|' "$here/systemd/driftless.service" \
    > "$scratch/unit/driftless.service"
# Its exit code forgives lines that it does not understand; its words do not.
words=$(systemd-analyze verify --man=no "$scratch/unit/driftless.service" 2>&1) || { echo "$words" >&2; exit 1; }
if echo "$words" | grep -F "$scratch/unit/driftless.service" >&2; then exit 1; fi
# 10 is no protection at all; more than 2.0 fails.
table=$(systemd-analyze security --offline=true --no-pager --threshold=20 "$scratch/unit/driftless.service") \
    || { echo "$table" >&2; exit 1; }
echo "$table" | tail -n 1

say 'helm lint, helm template, schemas of Kubernetes'
"$tools/bin/python" "$here/helm/check.py"

say 'all checks passed'
