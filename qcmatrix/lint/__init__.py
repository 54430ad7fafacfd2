"""Files with commands, judged: findings with their place, fixes as edits, suppressions."""
