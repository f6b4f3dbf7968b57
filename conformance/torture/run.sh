#!/bin/bash
# Run smbtorture against gabion and hold the results against table.tsv; run.py
# has the options.
export PYTHONDONTWRITEBYTECODE=1
exec python3 "$(dirname "$(readlink -f "$0")")/run.py" "$@"
