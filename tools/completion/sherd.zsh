#compdef sherd
# SPDX-License-Identifier: MIT
# Completion for zsh: commands and options are asked of sherd itself, so that none is missing.

_sherd()
{
	local -a found
	local name rest

	if ((CURRENT == 2)); then
		while IFS= read -r name; do
			found+=("${name%%$'\t'*}:${name##*$'\t'}")
		done < <($words[1] --options-for-shells 2>/dev/null)
		_describe command found
		return
	fi
	if [[ $words[CURRENT] == -* ]]; then
		while IFS= read -r name; do
			found+=("${name%%$'\t'*}:${name##*$'\t'}")
		done < <($words[1] $words[2] --options-for-shells 2>/dev/null)
		_describe -o option found
	else
		_files
	fi
}
compdef _sherd sherd
