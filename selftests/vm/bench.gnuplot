# SPDX-License-Identifier: GPL-2.0
# The plots of make bench: of base.csv and base-phases.csv, as files of a type (svg or png).

set datafile separator ","
set datafile missing "-"

# A colour for each driver, the same in all plots.
set linetype 1 lc rgb "#999999" lw 2 pt 5
set linetype 2 lc rgb "#4c9be8" lw 2 pt 7
set linetype 3 lc rgb "#1a4f8a" lw 2 pt 9
set linetype 4 lc rgb "#d98c00" lw 2 pt 4 dt 2
set linetype 5 lc rgb "#2e8b57" lw 2 pt 6 dt 3
drivers = "test_hmm dmirror-hmm dmirror floor+memcpy memcpy"

do_output(name, w, h) = (type eq "svg" ? \
	sprintf("set terminal svg size %d,%d enhanced background rgb 'white' font 'DejaVu Sans,12'", w, h) : \
	sprintf("set terminal pngcairo size %d,%d enhanced font 'DejaVu Sans,10'", w, h)) . \
	sprintf("; set output '%s-%s.%s'", base, name, type)

# What awk prints: bytes and GB/s of a driver for a case such as to_device/*/small. The sum of
# two drivers is that of their times.
series(what, kind, driver) = sprintf("< awk -F, -v OFS=, '" . \
	"split($1, n, \"/\") == 3 && n[1] == \"%s\" && n[3] == \"%s\" && $5 != \"-\" && " . \
	"index(\"+%s+\", \"+\" $2 \"+\") { t[$3] += $5; k[$3]++ } " . \
	"END { for (b in t) if (k[b] == split(\"%s\", x, \"+\")) print b, b / t[b] }' %s.csv | " . \
	"sort -t, -n", what, kind, driver, driver, base)

eval do_output("throughput", 1100, 800)
set multiplot layout 2,2 title sprintf("Migration: throughput by size, Linux %s", kernel) \
	noenhanced font ",14"
set logscale xy
set xrange [2048:512*1024*1024]
set yrange [0.001:20]
set xtics ("4K" 4096, "64K" 65536, "2M" 2**21, "64M" 2**26, "256M" 2**28)
set xlabel "size of the range in bytes"
set ylabel "GB/s"
set grid xtics ytics lt 1 lc rgb "#cccccc" lw 0.5
set key bottom right noenhanced
do for [d = 1:2] {
	do for [k = 1:2] {
		set title (d == 1 ? "to the device, " : "to system memory, ") . \
			(k == 1 ? "small pages" : "transparent huge pages")
		plot for [i = 1:5] series(word("to_device to_system", d), word("small thp", k), \
			word(drivers, i)) using 1:2 with linespoints lt i title word(drivers, i)
	}
}
unset multiplot
unset logscale
unset output

# A line for each case, a column for each driver; the awk expression says what of a time in $5.
table(pattern, value) = sprintf("< awk -F, '" . \
	"$1 ~ /%s/ && $5 != \"-\" { if (!($1 in seen)) { seen[$1] = ++n; name[n] = $1 } v[$1, $2] = %s } " . \
	"END { split(\"test_hmm dmirror-hmm dmirror floor memcpy\", d, \" \"); " . \
	"for (i = 1; i <= n; i++) { printf \"%%s\", name[i]; for (j = 1; j <= 5; j++) " . \
	"printf \",%%s\", ((name[i], d[j]) in v) ? v[name[i], d[j]] : \"-\"; print \"\" } }' %s.csv", \
	pattern, value, base)

# Without a row there is nothing to plot, which gnuplot takes for an error.
rows(data) = int(system(substr(data, 3, strlen(data)) . " | wc -l"))

eval do_output("cases", 1100, 900)
set multiplot layout 2,1 title sprintf("Access, faults and invalidation, Linux %s", kernel) \
	noenhanced font ",14"
set style data histograms
set style histogram clustered gap 1
set style fill solid 0.9 border -1
set boxwidth 0.9 relative
set auto x
set xlabel
set xtics auto rotate by -15 noenhanced scale 0 font ",8"
set grid noxtics ytics lt 1 lc rgb "#cccccc" lw 0.5
set key top right outside noenhanced
set rmargin 22
names = "test_hmm dmirror-hmm dmirror floor memcpy"
set title "throughput (more is better)"
set ylabel "GB/s"
set yrange [0:*]
data = table("^(cpu_readback|device_read|evict)", "$3 / $5")
if (rows(data)) plot for [i = 1:5] data \
	using (column(i + 1)):xtic(1) lt i dt 1 title word(names, i)
set title "time (less is better; floor: a process without a mirror)"
set ylabel "us"
set logscale y
set yrange [1:*]
data = table("^(cpu_fault|device_fault|open_close|munmap)", "$5 / 1000")
if (rows(data)) plot for [i = 1:4] data \
	using (column(i + 1)):xtic(1) lt i dt 1 title word(names, i)
unset multiplot
unset logscale
unset output

eval do_output("phases", 900, 500)
set title sprintf("Phases of a migration of 64 MiB by dmirror, Linux %s", kernel) noenhanced
set style histogram rowstacked
set boxwidth 0.6 relative
set xtics norotate
set ylabel "milliseconds"
set yrange [0:*]
set key top right outside invert
phases = "setup alloc copy pages finalize"
data = "< grep /64M/ '" . base . "-phases.csv'"
plot for [i = 2:6] data using (column(i) / 1e6):xtic(1) lt i - 1 dt 1 title word(phases, i - 1), \
	"" using (($7 - $6 - $5 - $4 - $3 - $2) / 1e6) lt 6 dt 1 title "other"
unset output
