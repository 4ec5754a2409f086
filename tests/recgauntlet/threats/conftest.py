from tiny_wordnet import tiny_synonyms as tiny_synonyms
from toy_fixtures import batch as batch
from toy_fixtures import model as model
from toy_fixtures import run as run
from toy_fixtures import victim as victim
from toy_fixtures import world as world
