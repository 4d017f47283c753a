"""motrv2.fast"""
