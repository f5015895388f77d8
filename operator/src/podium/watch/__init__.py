"""What is known of the cluster and what is to be looked at next; `handlers` alone imports kopf."""
