#!/bin/sh
# Runs in the build stage. Installs a lock of requirements/ into /opt/rag: `install.sh gateway`;
# or fetches the pinned models: `install.sh --models /models`.
set -eu

# Whose certificates stand in front of the package index, where the machine's own authorities do not know them.
if [ -s /run/secrets/ca.crt ]; then
    export PIP_CERT=/run/secrets/ca.crt
fi
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore PIP_NO_CACHE_DIR=1

if [ "$1" = --models ]; then
    exec python3 -m deploy.docker.models "$2"
fi

python3 -m venv --without-pip /opt/rag
python3 -m pip --python /opt/rag/bin/python3 install \
    --no-deps --only-binary=:all: --require-hashes --no-compile --requirement "requirements/$1.txt"
site_packages=$(/opt/rag/bin/python3 -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
# The code lies in /app, and is found from any working directory.
echo /app > "$site_packages/project.pth"
cat > /opt/rag/bin/rag <<'RAG'
#!/opt/rag/bin/python3
import sys

from services.cli.main import main

sys.exit(main())
RAG
chmod 755 /opt/rag/bin/rag
# By content and not by time: the same input gives the same bytes, and a read-only file system never compiles.
# olefile brings a file for Python 2 along, which nothing imports.
/opt/rag/bin/python3 -m compileall -q -x '/olefile2[.]py$' --invalidation-mode unchecked-hash "$site_packages"
