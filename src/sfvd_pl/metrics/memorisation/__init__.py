"""Whether a generated clip is a copy of a training clip: in its pictures, in its grain, in its wire's shape."""
