# SPDX-License-Identifier: MIT
# Completion for fish: commands and options are asked of sherd itself, so that none is missing.

function __sherd_list
	set -l words (commandline -opc)
	if test (count $words) -lt 2
		$words[1] --options-for-shells 2>/dev/null | string replace \t\t \t
	else
		$words[1] $words[2] --options-for-shells 2>/dev/null |
			string replace -r '^([^\t]*)\t[^\t]*\t' '$1\t'
	end
end

complete -c sherd -n 'test (count (commandline -opc)) -lt 2' -f -a '(__sherd_list)'
complete -c sherd -n 'string match -q -- "-*" (commandline -ct)' -f -a '(__sherd_list)'
