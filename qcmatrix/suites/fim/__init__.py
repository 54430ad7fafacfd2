"""Fill in the middle: the raw form, the chat forms, and what editors really send."""
