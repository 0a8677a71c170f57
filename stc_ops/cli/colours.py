"""Colours of Okabe and Ito, which colour-blind readers tell apart too."""

BLUE = "#0072b2"
VERMILLION = "#d55e00"
GREEN = "#009e73"
