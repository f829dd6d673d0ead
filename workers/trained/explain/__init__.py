"""Look into a trained model while it reads: states, gates, gradients, decisions at each step.

What is found is plain data, `explanation.Explanation`, which imports no torch. Drawing it is not
done here.
"""
