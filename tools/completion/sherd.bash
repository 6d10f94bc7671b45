# SPDX-License-Identifier: MIT
# Completion for bash: commands and options are asked of sherd itself, so that none is missing.

_sherd()
{
	local sherd=${COMP_WORDS[0]} cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]}
	local name arg help names=()

	COMPREPLY=()
	if ((COMP_CWORD == 1)); then
		while IFS=$'\t' read -r name _; do
			names+=("$name")
		done < <("$sherd" --options-for-shells 2>/dev/null)
		mapfile -t COMPREPLY < <(compgen -W "${names[*]}" -- "$cur")
		return
	fi
	while IFS= read -r name; do
		arg=${name#*$'\t'} help=${arg#*$'\t'} arg=${arg%%$'\t'*} name=${name%%$'\t'*}
		names+=("$name")
		# an option's value: one of several words, or most often a file
		if [[ $name == "$prev" && -n $arg ]]; then
			if [[ $arg =~ ^[a-z0-9]+(\|[a-z0-9]+)+$ ]]; then
				mapfile -t COMPREPLY < <(compgen -W "${arg//|/ }" -- "$cur")
			else
				mapfile -t COMPREPLY < <(compgen -f -- "$cur")
			fi
			return
		fi
	done < <("$sherd" "${COMP_WORDS[1]}" --options-for-shells 2>/dev/null)
	if [[ $cur == -* ]]; then
		mapfile -t COMPREPLY < <(compgen -W "${names[*]}" -- "$cur")
	else
		mapfile -t COMPREPLY < <(compgen -f -- "$cur")
	fi
}
complete -o filenames -F _sherd sherd
