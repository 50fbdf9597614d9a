"""The pages people look at: each one reads in one hop, renders, and is readable without JavaScript."""
