"""The scripts with which shells ask for completion, as ``completion SHELL`` prints them.

Each calls the program that is being typed with ``__complete``, the shell's name, and the words. Tested by
tests/programs/startcompile/completing/test_asked.py.
"""

from __future__ import annotations

from collections.abc import Mapping

from buildtool.errors import UsageError
from buildtool.model.text import meant
from buildtool.programs.startcompile.completing.candidates import SHELLS

FILES = "files"
"""What the first line of an answer says where any file may stand too."""

_BASH = """\
# Completion of startcompile.py: put   eval "$(startcompile.py completion bash)"   into ~/.bashrc
_startcompile() {
    local IFS=$'\\n' program=${COMP_WORDS[0]/#\\~/$HOME} answer
    answer=($("$program" __complete bash "$COMP_WORDBREAKS" "${COMP_LINE:0:COMP_POINT}" 2>/dev/null))
    COMPREPLY=("${answer[@]:1}")
    if [[ ${answer[0]} == files && ${#COMPREPLY[@]} == 0 ]]; then compopt -o default; fi
    if [[ ${#COMPREPLY[@]} == 1 && ${COMPREPLY[0]} == *@(=|..) ]]; then compopt -o nospace; fi
}
complete -F _startcompile startcompile.py startcompile
"""

_ZSH = """\
#compdef startcompile.py startcompile
# Completion of startcompile.py: put   eval "$(startcompile.py completion zsh)"   into ~/.zshrc, behind compinit
_startcompile() {
    local -a answer
    answer=("${(@f)$("${(e)words[1]/#\\~/$HOME}" __complete zsh "${(@Q)words[2,CURRENT]}" 2>/dev/null)}")
    if (( ${#answer} > 1 )); then _describe -V word 'answer[2,-1]' 2>/dev/null || {
        local -a found=("${(@)answer[2,-1]}"); _describe -V word found; }
    fi
    if [[ ${answer[1]} == files ]]; then
        if [[ $PREFIX == --*=* ]]; then compset -P '*='; fi
        _files
    fi
}
if [[ ${funcstack[1]} == _startcompile ]]; then
    _startcompile
else
    compdef _startcompile startcompile.py startcompile
fi
"""

_FISH = """\
# Completion of startcompile.py: put   startcompile.py completion fish | source   into ~/.config/fish/config.fish
function __startcompile_complete
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    set -l answer ($words[1] __complete fish $words[2..-1] $current 2>/dev/null)
    printf '%s\\n' $answer[2..-1]
    if test "$answer[1]" = files
        __fish_complete_path (string replace -r '^--[a-z-]*=' '' -- $current)
    end
end
complete -c startcompile.py -f -a '(__startcompile_complete)'
complete -c startcompile -f -a '(__startcompile_complete)'
"""

_SCRIPTS: Mapping[str, str] = dict(zip(SHELLS, (_BASH, _ZSH, _FISH), strict=True))


def script(shell: str) -> str:
    """Return the script for a shell. Raises UsageError for one that there is none for."""
    if shell not in _SCRIPTS:
        hint = meant(shell[:40], SHELLS) or f": there is one for {', '.join(SHELLS)}"
        raise UsageError(f"there is no completion for {shell[:40]!r}{hint}")
    return _SCRIPTS[shell]
