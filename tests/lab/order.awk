# Prints patterns, for the linker, of the functions that have run: they match those and few others, also in later builds.
# usage: awk -f order.awk SYMBOLS RUN
#   SYMBOLS  what `nm -S` says of the program
#   RUN      the names of functions that have run

# What remains of a name when something is compiled anew: not what is numbered.
function lasting(name) {
  sub(/\.llvm\.[0-9]+$/, "", name)
  gsub(/Cs[0-9A-Za-z]+_/, "Cs*_", name)                       # by the crate's version, and the compiler's
  gsub(/B[0-9A-Za-z]?[0-9A-Za-z]?[0-9A-Za-z]?_/, "B*_", name) # by how long the name is before
  gsub(/Xs[0-9A-Za-z]?[0-9A-Za-z]?_/, "X*", name)             # by how many there are before in the module
  gsub(/Ms[0-9A-Za-z]?[0-9A-Za-z]?_/, "M*", name)
  sub(/^aws_lc_[0-9]+_[0-9]+_[0-9]+_/, "aws_lc_*_", name)
  return name
}

function decimal(hexadecimal,   i, value) {
  for (i = 1; i <= length(hexadecimal); i++)
    value = value * 16 + index("123456789abcdef", tolower(substr(hexadecimal, i, 1)))
  return value
}

FNR == 1 { file++ }

# Of other libraries in C sections are not by function.
$NF !~ /^(_R|aws_lc_)/ { next }

# Bytes of all functions whose names begin so. Several may have the same name: which of them has run is not known.
file == 1 && $3 ~ /^[tTwW]$/ && !($1 in known) {
  known[$1]
  size[$4] += decimal($2)
  name = lasting($4)
  for (n = 24; n < length(name); n += 8) all[substr(name, 1, n)] += decimal($2)
  whole[name] += decimal($2)
}

# Bytes of those among them that have run.
file == 2 && $1 in size && !($1 in ran) {
  ran[$1]
  name = lasting($1)
  if (!(name in used)) names[++count] = name
  used[name] += size[$1]
  for (n = 24; n < length(name); n += 8) some[substr(name, 1, n)] += size[$1]
}

# The shortest beginning of which most has run; or the whole name, unless too much else has the same.
END {
  for (i = 1; i <= count; i++) {
    pattern = names[i]
    if (used[pattern] < whole[pattern] / 4 && whole[pattern] > 32768) continue
    for (n = 24; n < length(names[i]); n += 8) {
      begin = substr(names[i], 1, n)
      if (some[begin] < 0.7 * all[begin]) continue
      pattern = begin
      break
    }
    if (!(pattern in printed)) print pattern "*"
    printed[pattern]
  }
}
