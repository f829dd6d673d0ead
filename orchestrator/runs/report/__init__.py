"""Render a run as one HTML page, report.html, with its charts.

Everything on the page comes from the run folder.
"""
