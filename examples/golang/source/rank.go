package main

import (
	"fmt"
	"sort"
)

// ranked returns lines such as "3 word", the most frequent first, of which there are at most so many.
func ranked(counts map[string]int, most int) []string {
	words := make([]string, 0, len(counts))
	for word := range counts {
		words = append(words, word)
	}
	sort.Slice(words, func(i, j int) bool {
		if counts[words[i]] != counts[words[j]] {
			return counts[words[i]] > counts[words[j]]
		}
		return words[i] < words[j]
	})
	if len(words) > most {
		words = words[:most]
	}
	lines := make([]string, 0, len(words))
	for _, word := range words {
		lines = append(lines, fmt.Sprintf("%d %s", counts[word], word))
	}
	return lines
}
