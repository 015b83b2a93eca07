#!/usr/bin/env bash
# A FAISS index of an npy dataset, by autofaiss. It needs older numpy and pandas, so it gets an environment of its own.
#
#   fvcli extract photos -o features-npy --format npy
#   docs/examples/autofaiss.sh features-npy
set -euo pipefail
features=${1:-features-npy}
environment=${AUTOFAISS_ENV:-.venv-autofaiss}

if [ ! -x "$environment/bin/autofaiss" ]; then
    python3 -m venv "$environment"
    "$environment/bin/pip" install --quiet autofaiss 'numpy<2' 'pandas<3' 'pyarrow<20' 'setuptools<81'
fi
"$environment/bin/autofaiss" build_index \
    --embeddings="$features/img_emb" --metric_type=ip \
    --index_path="$features/../knn.index" --index_infos_path="$features/../knn.json"
