# A function in no Python: its model is what it was told, word by word.
file="${2#@}"
model=$(sed -n 's/.*"id": "shared", "value": "\([^"]*\)".*/\1/p' "$file" | tail -n 1)
printf '{"value": 42, "word": "%s", "place": "%s"}' "$1" "$(pwd | sed 's,.*/,,')" > "$model"
echo "the shell was here"
