"""Text of a user that each notation on its way could change."""

NASTY = (
    "sun 🏖️ 𠮷 \\ud83c $$5 $(HOME) $$(HOME) ${HOME} $ 'q' \"d\" `b` \\n "
    "\n\r\t\x01\x7f\x85\u2028\ufeff"
    " </script><b>&amp; =1+1, | # : {{ x }} {% y %} %s {0} ]]>"
)
PATH = "🎨$$m'o-$(KUBERNETES_SERVICE_HOST)\"\\n</script>"
"""Such text in a path, which has no blank."""
