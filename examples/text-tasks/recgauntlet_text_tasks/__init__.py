"""Tasks on RecGauntlet's harness that are no recommendation: does this text belong to this label?"""
