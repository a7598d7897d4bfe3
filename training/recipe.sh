#!/usr/bin/env bash
# The shipped checkpoint, from the pretrained encoder on:
# `TEXTS="FILE ..." bash training/recipe.sh FLICKR8K COCO [FOLDER]`.
#
# FLICKR8K and COCO are folders of captioned photos, TEXTS files of captions without photos, one a line. The runs go to
# FOLDER (runs/recipe), the captioner to FOLDER/shipped. After an interruption, the same command resumes.
# ENCODER and SEED in the environment change the encoder and the first seed. RESULTS.md has what each run gave, and how
# long it took.
set -euo pipefail
usage="usage: TEXTS=\"FILE ...\" bash training/recipe.sh FLICKR8K COCO [FOLDER]"
flickr=${1:?"$usage"} coco=${2:?"$usage"} to=${3:-runs/recipe} texts=${TEXTS:?"$usage"}
encoder=${ENCODER:-facebook/dinov2-small} seed=${SEED:-0}

train() { # NAME, then options of training.train; each run has a seed of its own
    python -m training.train --output "$to/$1" --seed "$seed" --patience 99 "${@:2}"
    seed=$((seed + 1))
}
tune="--patch-dropout 0.5 --mirror"
teacher="--teacher efficientnet-lite2"

# The encoder learns from Flickr8k.
train frozen --data "$flickr" --encoder "$encoder"
train tuned --data "$flickr" --checkpoint "$to/frozen/best" $tune --rate 4e-4 --encoder-rate 6e-5
train longer --data "$flickr" --checkpoint "$to/tuned/best" $tune --rate 3e-4 --encoder-rate 8e-5 --epochs 2
train taught --data "$flickr" --checkpoint "$to/longer/best" $tune --rate 3e-4 --encoder-rate 1e-4 --epochs 3 $teacher
train critical --data "$flickr" --checkpoint "$to/longer/best" $tune --rate 1e-4 --encoder-rate 2e-5 --epochs 4 --samples 5
train critical2 --data "$flickr" --checkpoint "$to/critical/best" $tune --rate 1.5e-4 --encoder-rate 4e-5 --epochs 3 --samples 5
python -m training.average "$to"/{tuned,longer,critical,critical2,taught}/best --output "$to/mean"

train critical3 --data "$flickr" --checkpoint "$to/mean" $tune --rate 3e-5 --encoder-rate 1e-5 --epochs 3 --samples 8
train taught2 --data "$flickr" --checkpoint "$to/mean" $tune --rate 2e-4 --encoder-rate 6e-5 --epochs 2 --average 0.995 \
    $teacher --teacher-weight 0.2
python -m training.average "$to/mean" "$to"/{critical3,taught2}/best --shares 2 1 2 --output "$to/mean2"

train taught3 --data "$flickr" --checkpoint "$to/mean2" $tune --crop 0.6 --rate 2.5e-4 --encoder-rate 8e-5 --epochs 4 \
    --average 0.998 $teacher --teacher-weight 0.2
python -m training.average "$to/mean2" "$to/taught3/best" --output "$to/before"

# A larger decoder on this encoder learns the language, then photos of both.
python -m training.pretrain --text $texts --data "$flickr" "$coco" --encoder "$to/before" --output "$to/language" \
    --width 384 --vocab-size 6000 --epochs 8 --batch-size 1024
both="$tune --batch-size 128 --rate 5e-4 --encoder-rate 1e-4 $teacher --teacher-weight 0.2"
reward="$tune --batch-size 128 --rate 1e-4 --samples 5"

train plain --data "$flickr" "$coco" --data-shares 3 2 --checkpoint "$to/language/best" $both --epochs 10 --crop 0.6
train hard --data "$flickr" "$coco" --data-shares 3 2 --checkpoint "$to/language/best" $both --epochs 20 --crop 0.4 \
    --dropout 0.3 --weight-decay 0.1
train critical4 --data "$flickr" "$coco" --data-shares 3 2 --checkpoint "$to/plain/best" $reward --epochs 10 \
    --crop 0.6 --encoder-rate 3e-5 --captions-weight 0.2
python -m training.average "$to"/{hard,critical4}/best --output "$to/mean3"
train critical5 --data "$flickr" "$coco" --data-shares 3 1 --checkpoint "$to/mean3" $reward --epochs 7 \
    --crop 0.5 --dropout 0.2 --encoder-rate 4e-5 --captions-weight 1
rm -rf "$to/shipped" && cp -r "$to/critical5/best" "$to/shipped"
python - "$to/shipped/config.json" <<'END'  # how it searches for a caption, and how many patches it merges
import json, pathlib, sys
file = pathlib.Path(sys.argv[1])
decoding = {"num_beams": 5, "length_penalty": 1.0, "early_stopping": True, "no_repeat_ngram": 2}
changes = {"decoding": decoding, "merged_patches": 12}
file.write_text(json.dumps(json.loads(file.read_text()) | changes, indent=2) + "\n")
END

python -m training.familiarity --data "$flickr" "$coco" --checkpoint "$to/shipped"
for data in "$flickr" "$coco"; do
    python -m training.evaluate --data "$data" --checkpoint "$to/shipped"
done
