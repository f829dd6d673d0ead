"""A job as a RayJob for KubeRay: the manifest, and this client's own code as a wheel, which pods
check before they run it.

The program that the pods run is in `driver.kuberay_entry`.
"""
