package load

import (
	_ "fortio.org/fortio/periodic"
)
