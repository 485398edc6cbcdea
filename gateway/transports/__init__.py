"""How clients reach a gateway."""
