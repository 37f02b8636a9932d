"""What machines did, summed up by month: written as attempts end, so that no page has to count history."""
