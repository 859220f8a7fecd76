"""The receipt of each figure: what was told, on what it stands, what moved since, and why it differs from a day before.

told          what a metric told of a day, as of any publication
basis         the loads of raw and the models that a publication stands on
move          a figure that moved, as data
moves         which closed figures a publish changes, found before it, kept with it
rows          the rows behind a move
lateness      how much usually still comes in
ours          causes that are ours: a changed model, a rebuild, a restored history
explanation   why a figure differs, as data
explain       why a figure differs: parts that add up
items         what the rows of each item count for
split         the arithmetic of the parts
address       where the receipt of a figure is
meanwhile     what else happened on the days: told as at the same time
"""
