"""RecGauntlet: how robust is a recommender system, and what does robustness cost?"""
