"""datasets.synthetic"""
