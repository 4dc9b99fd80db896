"""The parts of `fairlead demo`, imported only when it runs.

`stage` starts everything that takes part, `witness` sees what happens to it, `story` tells the acts (`rotation` the
third, with the store of `vault`), `screen` shows them, and `facts` judges them: pure, so that what the demo claims can
be tested without it.
"""
