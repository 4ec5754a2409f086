"""The gauntlet: a trained model in, what each attack of each threat did to it out."""
