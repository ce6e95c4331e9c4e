"""Exit 0 if the service is ready. Standard library only: it runs every few seconds."""

import os
import sys
import urllib.error
import urllib.request

url = f"http://127.0.0.1:{os.environ.get('V2VPOSE_HTTP_PORT', '8000')}/readyz"
try:
    with urllib.request.urlopen(url, timeout=2) as answer:
        answer.read()
except (urllib.error.URLError, OSError) as error:
    sys.exit(f"{url}: {error}")
