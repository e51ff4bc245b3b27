module checkers/glua

go 1.25.0

tool github.com/yuin/gopher-lua/cmd/glua

require github.com/yuin/gopher-lua v1.1.2

require github.com/chzyer/readline v0.0.0-20180603132655-2972be24d48e // indirect
