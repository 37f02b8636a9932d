// Wordcount says how often each word stands in what it reads, the most frequent first.
package main

import (
	"bufio"
	"fmt"
	"os"
	"strconv"
)

// limit is how many words are shown. The recipe sets it: -ldflags=-X main.limit=N.
var limit = "10"

func main() {
	most, err := strconv.Atoi(limit)
	if err != nil {
		fmt.Fprintln(os.Stderr, "wordcount: this program was built with a limit that is no number:", limit)
		os.Exit(2)
	}
	counts := map[string]int{}
	words := bufio.NewScanner(os.Stdin)
	words.Split(bufio.ScanWords)
	for words.Scan() {
		counts[words.Text()]++
	}
	if err := words.Err(); err != nil {
		fmt.Fprintln(os.Stderr, "wordcount:", err)
		os.Exit(1)
	}
	for _, line := range ranked(counts, most) {
		fmt.Println(line)
	}
}
