-- What a fresh Lua has to pass before anybody is given it. The recipe puts `want`, a table, before this text:
-- release, bits, byteorder ("little" or "big"), short (32-bit numbers), compat (Lua 5.3's functions), modules (in C).

local function same(what, found, wanted)
  assert(found == wanted, ("%s: %s instead of %s"):format(what, found, wanted))
  print(("ok %s %s"):format(what, found))
end

-- The platform: a wrong byte order or word size would show here.
same("byteorder", string.pack("=I2", 1):byte(1) == 1 and "little" or "big", want.byteorder)
same("bits", string.packsize("T") * 8, want.bits)

-- The compile options.
same("integers", math.maxinteger == 0x7fffffff, want.short)
same("floats", string.packsize("n") == 4, want.short)
same("compat", math.pow ~= nil, want.compat)
local _, why = package.loadlib("/nowhere.so", "*")
same("modules", not why:find("not enabled"), want.modules)

-- The language: closures, metatables, coroutines, patterns, errors, garbage.
local function fibonacci(n) return n < 2 and n or fibonacci(n - 1) + fibonacci(n - 2) end
same("fibonacci", fibonacci(20), 6765)
same("gsub", ("on the farm"):gsub("%w+", string.upper), "ON THE FARM")
local squares = setmetatable({}, {__index = function(_, n) return n * n end})
same("metatable", squares[12], 144)
local told = {}
for word in coroutine.wrap(function() for _, w in ipairs {"a", "b", "c"} do coroutine.yield(w) end end) do
  told[#told + 1] = word
end
same("coroutine", table.concat(told), "abc")
same("pcall", select(2, pcall(error, "caught")), "caught")
for n = 1, 20000 do told = {n} end
collectgarbage()
same("garbage", collectgarbage("count") < 1024, true)
same("utf8", utf8.len("gr\u{fc}\u{df}e"), 5)

-- What luac compiles next, and lua runs then.
local file <close> = assert(io.open("check-compiled.lua", "w"))
assert(file:write('print("ok compiled " .. string.format("%.2f", 22 / 7))\n'))
