"""Work cut into parts, on Ray: each part is computed by one actor, and its result is a file.

A folder on a storage holds the request, a file for each part that is done, and the outcome. So work
that was interrupted goes on with the parts that are missing. How a client starts and follows it is
in `trained`; how a model is trained on Ray is in `driver.ray_train`.
"""
