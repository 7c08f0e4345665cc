"""What Kubernetes needs of us: a pod's connections are led through the sidecar."""
