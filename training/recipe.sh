#!/usr/bin/env bash
# The shipped checkpoint, from the pretrained encoder on: `bash training/recipe.sh DIR [FOLDER]`.
#
# DIR holds Flickr8k; the runs go to FOLDER (runs/recipe), the captioner to FOLDER/shipped. It takes
# about eight hours on two CPU cores. After an interruption, the same command resumes.
# ENCODER and SEED in the environment change the encoder and the first seed. RESULTS.md has what each run gave.
set -euo pipefail
data=${1:?"usage: bash training/recipe.sh DIR [FOLDER]"} to=${2:-runs/recipe}
encoder=${ENCODER:-facebook/dinov2-small} seed=${SEED:-0}

train() { # NAME, then options of training.train; each run has a seed of its own
    python -m training.train --data "$data" --output "$to/$1" --seed "$seed" --patience 99 "${@:2}"
    seed=$((seed + 1))
}
tune="--patch-dropout 0.5 --mirror"
teacher="--teacher efficientnet-lite2"

train frozen --encoder "$encoder"
train tuned --checkpoint "$to/frozen/best" $tune --rate 4e-4 --encoder-rate 6e-5
train longer --checkpoint "$to/tuned/best" $tune --rate 3e-4 --encoder-rate 8e-5 --epochs 2
train taught --checkpoint "$to/longer/best" $tune --rate 3e-4 --encoder-rate 1e-4 --epochs 3 $teacher
train critical --checkpoint "$to/longer/best" $tune --rate 1e-4 --encoder-rate 2e-5 --epochs 4 --samples 5
train critical2 --checkpoint "$to/critical/best" $tune --rate 1.5e-4 --encoder-rate 4e-5 --epochs 3 --samples 5
python -m training.average "$to"/{tuned,longer,critical,critical2,taught}/best --output "$to/mean"

train critical3 --checkpoint "$to/mean" $tune --rate 3e-5 --encoder-rate 1e-5 --epochs 3 --samples 8
train taught2 --checkpoint "$to/mean" $tune --rate 2e-4 --encoder-rate 6e-5 --epochs 2 --average 0.995 \
    $teacher --teacher-weight 0.2
python -m training.average "$to/mean" "$to"/{critical3,taught2}/best --shares 2 1 2 --output "$to/mean2"

train taught3 --checkpoint "$to/mean2" $tune --crop 0.6 --rate 2.5e-4 --encoder-rate 8e-5 --epochs 4 \
    --average 0.998 $teacher --teacher-weight 0.2
python -m training.average "$to/mean2" "$to/taught3/best" --output "$to/shipped"
python - "$to/shipped/config.json" <<'END'  # how it searches for a caption
import json, pathlib, sys
file = pathlib.Path(sys.argv[1])
decoding = {"num_beams": 5, "length_penalty": 1.0, "early_stopping": True, "no_repeat_ngram": 2}
file.write_text(json.dumps(json.loads(file.read_text()) | {"decoding": decoding}, indent=2) + "\n")
END

python -m training.familiarity --data "$data" --checkpoint "$to/shipped"
python -m training.evaluate --data "$data" --checkpoint "$to/shipped"
