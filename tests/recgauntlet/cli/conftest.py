from command_line import call as call
from command_line import run as run
