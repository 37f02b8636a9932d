/* What WASI has not, said before Lua's own sources: there are no other programs, and no place for temporary files. */
#include <stdio.h>
#include <stdlib.h>

#define system(command) ((command) == NULL ? 0 : -1)
#define tmpfile() ((FILE *)NULL)
#define LUA_TMPNAMBUFSIZE 1
#define lua_tmpnam(place, failed) { (void)(place); failed = 1; }
