"""experiments.speed"""
