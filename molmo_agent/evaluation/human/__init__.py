"""Human evaluation: people compare the replies of two models, blind; a Bradley-Terry model turns votes into ratings."""
