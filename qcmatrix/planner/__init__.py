"""From a wish to launches: enumerate, judge cheap before expensive, size, rank; or say why not and what would help."""
