"""What an attacker may change and by how much, and the verifier that checks it. Never imports attacks."""
