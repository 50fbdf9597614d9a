"""How soon does a change of rows reach everybody who watches a live query, and what does it cost?"""
