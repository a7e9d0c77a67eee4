"""What `status` shows of a study: facts of each job, their words, and the table of them."""
